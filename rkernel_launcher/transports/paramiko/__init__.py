"""A login by the embedded client, the library paramiko, for a PC without an `ssh`: on the PC."""
