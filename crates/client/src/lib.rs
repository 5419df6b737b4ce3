//! herenow-client
