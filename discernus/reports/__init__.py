"""What people read: results.csv, final_report.md, a page per analysis."""
