"""An exchange and clearing house in a box: was every debt made zero, and who paid for it?"""

__version__ = "0.1.0"
