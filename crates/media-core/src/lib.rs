//! One interface over web APIs that make images and spoken audio: requests, results, pacing, validation, atomic output
