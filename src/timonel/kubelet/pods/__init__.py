"""What becomes of one pod: what runs (`view`), what to do (`plan`), who does it (`worker`), what is said (`status`)."""
