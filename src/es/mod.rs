//! What requests to Elasticsearch and `OpenSearch` and their answers say: endpoints, bodies, bulk lines, bulk items.
//!
//! Sans-IO readers over whole messages; changes nothing.
