//! Lists and recipes to files on disk: plan, run, resume, report
