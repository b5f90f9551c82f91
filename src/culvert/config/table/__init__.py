"""The one table, a module per topic: every option of stunnel 4.42 and of 5.x up to 5.82, and our own."""
