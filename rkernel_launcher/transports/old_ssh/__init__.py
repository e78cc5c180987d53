"""A login over ssh, as the user's settings have it: on the PC."""
