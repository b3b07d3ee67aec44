"""`python -m simulations.cli`: the `ebbtide` command, where it is not installed as one."""

from .main import main

main()
