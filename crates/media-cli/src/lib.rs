//! The program media: a list of words or prompts in, valid files on disk out
