"""What the release before stored in plain: sealed, and emptied once nobody looks there. A later one drops it all."""
