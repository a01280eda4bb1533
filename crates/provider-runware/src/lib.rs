//! Runware as a media provider: images and speech, native multi-task batches, async results.
