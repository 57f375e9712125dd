"""The long-lived live process."""
