"""For the test suites of bots: a pytest plugin, accounts and running venues in decimals, and strategies."""
