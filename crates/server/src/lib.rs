//! herenow-server
