//! libp2p plumbing that `weft` and `weft-bootstrap` have in common.
