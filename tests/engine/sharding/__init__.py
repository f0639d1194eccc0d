"""Steps over eight host devices, over two processes, and states kept in the host's memory."""
