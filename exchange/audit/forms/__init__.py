"""The forms that rules come in: small functions, told apart by the rulebook's data and by nothing else."""
