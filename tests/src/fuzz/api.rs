//! What arrives over HTTP, and files that people hand to each other.

use ledger::proof::verify_receipt;
use portal_api::{
    Problem, rfc3339,
    views::{Decision, Document, Job, ReceiptFile, SubmitRequest},
};
use protocol::wire::view::ReceiptProof;

/// A body: whatever it is, it is read or refused, and what was read can be written.
pub fn body(bytes: &[u8]) {
    let _job = serde_json::from_slice::<Document<Job>>(bytes);
    let _decision = serde_json::from_slice::<Decision>(bytes);
    if let Ok(request) = serde_json::from_slice::<SubmitRequest>(bytes) {
        let written = serde_json::to_vec(&request);
        assert!(written.is_ok());
    }
    if let Ok(problem) = serde_json::from_slice::<Problem>(bytes) {
        let written = serde_json::to_vec(&problem).unwrap_or_default();
        assert!(serde_json::from_slice::<Problem>(&written).is_ok_and(|again| again == problem));
    }
}

/// A name in a path or a query, and a time.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(job) = text.parse::<portal_api::reference::JobRef>() {
        assert!(
            job.to_string()
                .parse::<portal_api::reference::JobRef>()
                .is_ok_and(|again| again == job)
        );
    }
    let _node = text.parse::<portal_api::reference::NodeRef>();
    if let Some(time) = rfc3339::parse(text) {
        assert_eq!(rfc3339::parse(&rfc3339::format(time)), Some(time));
    }
}

/// A receipt file: nobody but the mesh can make one that is valid.
pub fn receipt(bytes: &[u8]) {
    let Ok(file) = serde_json::from_slice::<ReceiptFile>(bytes) else { return };
    let Ok(proof) = ReceiptProof::try_from(&file) else { return };
    let _facts = verify_receipt(&proof, None);
}
