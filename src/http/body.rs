//! The body of a message whose end is known from its framing.
//!
//! Owns the two ways in which a body announces its end. Never looks at the content.

use super::chunks::Chunks;
use super::{Limits, Refusal};

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    /// This many bytes, never 0.
    Sized(u64),
    Chunked(Chunks),
}

impl Body {
    /// The body that a head announces, if it announces any byte.
    #[inline]
    pub(super) fn announced(content_length: Option<u64>, chunked: bool) -> Option<Self> {
        if chunked {
            return Some(Self::Chunked(Chunks::new()));
        }
        content_length.filter(|&length| length > 0).map(Self::Sized)
    }

    /// How many bytes of `input` belong to the body, and whether it ends with them.
    #[inline]
    pub(super) fn next(&mut self, limits: &Limits, input: &[u8]) -> Result<(usize, bool), Refusal> {
        match self {
            Self::Sized(left) => {
                let taken = (*left).min(input.len() as u64);
                *left -= taken;
                Ok((taken as usize, *left == 0))
            }
            Self::Chunked(chunks) => chunks.next(limits, input),
        }
    }
}
