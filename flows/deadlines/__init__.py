"""By when a case has to be reported: days as a laboratory counts them, and a breach that is seen before it comes."""
