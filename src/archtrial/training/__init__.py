"""One model or many at once, trained by the recipe that all arms share."""
