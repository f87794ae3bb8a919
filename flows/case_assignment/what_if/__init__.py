"""What if: some weeks of reading replayed under other rules, or with other people, beside the present ones."""
