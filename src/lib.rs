//! tapline: durable capture and replay of live Elasticsearch and OpenSearch traffic.
//!
//! The modules stand in the order in which data flows; arrows between them point one way.

pub mod admin;
pub mod ask;
pub mod capture;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod doctor;
pub mod es;
pub mod feed;
pub mod filter;
pub mod http;
pub mod inspect;
pub mod kafka;
pub mod log;
pub mod net;
pub mod observe;
pub mod outcome;
pub mod proto;
pub mod proxy;
pub mod replay;
pub mod rewrite;
pub mod ring;
pub mod service;
pub mod sink;
pub mod sys;
pub mod target;
pub mod tls;
pub mod tune;
