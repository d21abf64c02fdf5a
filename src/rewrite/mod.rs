//! What is changed in a request before it is sent, and only that.
//!
//! Sans-IO: bytes in, bytes out.
