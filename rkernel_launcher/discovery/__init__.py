"""The search for boards that nobody has named yet: on the PC, in the command `rkernel` alone.

Each source of boards is a module: mDNS, USB networks, a scan of ports, and adb. They see hosts;
`probe` then asks each host what answers there. This folder knows no launcher and no kernel.
"""
