"""The people who read, and the policy they read by: from the settings, from files of a laboratory, in the database."""
