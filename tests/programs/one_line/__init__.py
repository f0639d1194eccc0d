"""Programs as the users of three frameworks write them; one line of each is switched."""
