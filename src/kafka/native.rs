//! The one file of this room that calls librdkafka itself: the binding has no word for either call.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};

use rdkafka::{
    ClientContext,
    bindings::{
        rd_kafka_error_destroy, rd_kafka_error_string, rd_kafka_oauthbearer_set_token,
        rd_kafka_sasl_set_credentials,
    },
    client::{Client, OAuthToken},
    types::RDKafkaRespErr,
};

const TEXT_BYTES: usize = 512;

/// From the next connection on this user and password count.
pub(super) fn set_credentials<C: ClientContext>(
    client: &Client<C>,
    user: &str,
    password: &str,
) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "a zero byte in it".to_owned());
    let (user, password) = (text(user)?, text(password)?);
    // SAFETY: the client is alive, and both are C strings that librdkafka copies.
    let error = unsafe {
        rd_kafka_sasl_set_credentials(client.native_ptr(), user.as_ptr(), password.as_ptr())
    };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is ours until it is destroyed, and its text lives as long.
    let said = unsafe { CStr::from_ptr(rd_kafka_error_string(error)) };
    let said = said.to_string_lossy().into_owned();
    // SAFETY: it was given to us, and is not used any more.
    unsafe { rd_kafka_error_destroy(error) };
    Err(said)
}

/// Gives a client its token.
pub(super) fn set_token<C: ClientContext>(
    client: &Client<C>,
    token: &OAuthToken,
) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "a zero byte in it".to_owned());
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut why: [c_char; TEXT_BYTES] = [0; TEXT_BYTES];
    // SAFETY: the client is alive; token and principal are C strings that librdkafka copies; there are no extensions;
    // the text is written into an array of the length that is told, with a zero at its end.
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: it was all zeros, and the last one is never written over.
    let why = unsafe { CStr::from_ptr(why.as_ptr()) };
    Err(why.to_string_lossy().into_owned())
}
