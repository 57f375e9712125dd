"""What is written for people to look at: reduced frames, thumbnails, exports."""
