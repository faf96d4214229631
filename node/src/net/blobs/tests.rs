use std::collections::BTreeMap;

use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;

/// Contents in memory; `lies` serves every other content for a hash.
#[derive(Default)]
struct Shelf {
    contents: BTreeMap<Hash, Vec<u8>>,
    cut_short: bool,
}

impl Shelf {
    fn put(&mut self, content: &[u8]) -> Hash {
        let hash = Hash::of(content);
        self.contents.insert(hash, content.to_vec());
        hash
    }
}

#[async_trait]
impl BlobSource for Shelf {
    async fn open(&self, hash: &Hash, from: u64) -> io::Result<Option<OpenBlob>> {
        let Some(content) = self.contents.get(hash) else { return Ok(None) };
        let rest = content.get(usize::try_from(from).unwrap()..).unwrap().to_vec();
        let len = u64::try_from(rest.len()).unwrap().saturating_add(self.cut_short.into());
        Ok(Some(OpenBlob { len, content: Box::new(io::Cursor::new(rest)) }))
    }
}

/// Keeps what it is given.
#[derive(Default)]
struct Basket {
    current: Vec<u8>,
    finished: Vec<Vec<u8>>,
    discarded: u32,
    len_max: u64,
}

#[async_trait]
impl BlobSink for Basket {
    async fn begin(&mut self, _hash: &Hash, len: u64) -> io::Result<()> {
        if len > self.len_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.current.clear();
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.finished.push(std::mem::take(&mut self.current));
        Ok(())
    }

    async fn discard(&mut self) {
        self.discarded += 1;
    }
}

fn basket() -> Basket {
    Basket { len_max: 64 << 20, ..Basket::default() }
}

fn pair() -> (Compat<tokio::io::DuplexStream>, Compat<tokio::io::DuplexStream>) {
    let (one, other) = tokio::io::duplex(16 * 1024);
    (one.compat(), other.compat())
}

async fn transfer(
    shelf: &Shelf,
    wanted: &[Hash],
    basket: &mut Basket,
) -> Result<Fetched, FetchError> {
    let (ours, theirs) = pair();
    let (fetched, _served) = tokio::join!(fetch(ours, wanted, basket), serve(theirs, shelf));
    fetched
}

#[tokio::test]
async fn contents_arrive_in_order_and_the_missing_are_named() {
    let mut shelf = Shelf::default();
    let (small, empty) = (shelf.put(b"small"), shelf.put(b""));
    let missing = Hash::of(b"never seen");
    let mut basket = basket();
    let fetched = transfer(&shelf, &[small, missing, empty], &mut basket).await.unwrap();
    assert_eq!(fetched, Fetched { found: 2, bytes: 5, missing: vec![missing] });
    assert_eq!(basket.finished, [b"small".to_vec(), Vec::new()]);
}

#[tokio::test]
async fn twenty_mebibytes_arrive_whole() {
    let content: Vec<u8> =
        (0..20_u32 << 20).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[2]).collect();
    let mut shelf = Shelf::default();
    let hash = shelf.put(&content);
    let mut basket = basket();
    let fetched = transfer(&shelf, &[hash], &mut basket).await.unwrap();
    assert_eq!(fetched.bytes, 20 << 20);
    assert!(basket.finished.first().is_some_and(|fetched| *fetched == content));
}

#[tokio::test]
async fn a_provider_that_sends_something_else_is_caught() {
    let mut shelf = Shelf::default();
    let hash = Hash::of(b"the truth");
    shelf.contents.insert(hash, b"something".to_vec());
    let mut basket = basket();
    let error = transfer(&shelf, &[hash], &mut basket).await.unwrap_err();
    assert!(matches!(error, FetchError::Corrupt { hash: of } if of == hash), "{error:?}");
    assert_eq!((basket.finished.len(), basket.discarded), (0, 1));
}

#[tokio::test]
async fn a_content_that_ends_early_is_discarded() {
    let mut shelf = Shelf { cut_short: true, ..Shelf::default() };
    let hash = shelf.put(b"promised more than there is");
    let mut basket = basket();
    let error = transfer(&shelf, &[hash], &mut basket).await.unwrap_err();
    assert!(matches!(error, FetchError::Stream(_)), "{error:?}");
    assert_eq!(basket.discarded, 1);
}

#[tokio::test]
async fn a_sink_without_room_ends_the_fetch() {
    let mut shelf = Shelf::default();
    let hash = shelf.put(b"too much");
    let mut basket = Basket { len_max: 3, ..Basket::default() };
    assert!(matches!(transfer(&shelf, &[hash], &mut basket).await, Err(FetchError::Sink(_))));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_nothing_is_given_up() {
    let (ours, _theirs) = pair();
    let mut basket = basket();
    assert!(matches!(fetch(ours, &[Hash::of(b"x")], &mut basket).await, Err(FetchError::Stalled)));
}

#[tokio::test]
async fn a_part_is_served_from_where_it_begins() {
    let mut shelf = Shelf::default();
    let hash = shelf.put(b"0123456789");
    let (mut ours, theirs) = pair();
    let request = BlobRequest { wanted: vec![BlobWanted { hash, from: 3, len: 4 }] };
    let ask = async {
        write_request(&mut ours, &request).await.unwrap();
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (answer, served) = tokio::join!(ask, serve(theirs, &shelf));
    assert_eq!(served.unwrap(), 4);
    assert_eq!(answer, [4_u64.to_le_bytes().as_slice(), b"3456"].concat());
}

#[tokio::test]
async fn a_request_that_is_none_is_refused() {
    let shelf = Shelf::default();
    for bytes in [vec![0xff; 4], vec![1, 0, 0, 0, 9]] {
        let (mut ours, theirs) = pair();
        let send = async {
            ours.write_all(&bytes).await.unwrap();
            ours.close().await.unwrap();
        };
        let ((), served) = tokio::join!(send, serve(theirs, &shelf));
        assert!(matches!(served, Err(ServeError::TooLong | ServeError::Request(_))), "{served:?}");
    }
}

#[tokio::test]
async fn too_many_at_once_are_not_asked_for() {
    let (ours, _theirs) = pair();
    let wanted = vec![Hash::of(b"x"); BLOBS_PER_REQUEST_MAX + 1];
    assert!(matches!(fetch(ours, &wanted, &mut basket()).await, Err(FetchError::TooMany(_))));
}
