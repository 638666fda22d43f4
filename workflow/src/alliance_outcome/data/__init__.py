"""From a raw export to the session table: files, instruments, sessions, simulation."""
