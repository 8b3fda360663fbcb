"""The commands of the contract, one function for each. A command reads its arguments, calls a lower layer, and prints.

    common.py     settings, shared options, and how a command fails
    ends.py       the ends that a command does not choose
    serving.py    serve, demo
    databases.py  migrate, check, inbox
    backups.py    backup, restore
    tenants.py    export, import
    persons.py    erase
    tokens.py     token, sign-out
    probing.py    probe
    watching.py   watch
    seeing.py     top, monitoring

Exit codes: 0 means done; 1 means that something is wrong, and one line on standard error says what; 2 means that the
command line is wrong. The layers below are imported inside of a command, so that `--help` is quick.
"""
