//! What a reply means: done, or to be sent again, and when.
