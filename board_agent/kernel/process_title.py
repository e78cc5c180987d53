"""What `ps` shows of a process that was forked and runs something else now."""

ARGUMENTS = (48, 49)  # of /proc/PID/stat, proc(5): where they begin and end


def set_process_title(arguments: "list[str]") -> None:
    """Have `ps` show other arguments than those of the start, as far as they fit in their place.

    Where the system does not let a process write there, it goes on showing the former ones.
    """
    try:
        with open("/proc/self/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        begin, end = (int(fields[number - 3]) for number in ARGUMENTS)
        text = b"".join(argument.encode() + b"\0" for argument in arguments)
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(text[: end - begin - 1].ljust(end - begin, b"\0"))
    except (OSError, ValueError, IndexError):
        pass
