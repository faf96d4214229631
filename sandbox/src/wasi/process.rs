//! Arguments, environment, clocks, randomness, waiting.

use super::{
    abi::{Args, Errno, Failure, Memory, Meter, after},
    host::Host,
};

/// When every program starts, by its own wall clock: 2026-01-01 00:00:00 UTC, in nanoseconds since 1970.
pub(super) const START: u64 = 1_767_225_600_000_000_000;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_THREAD_CPU: u32 = 3;

/// Subscriptions that one `poll_oneoff` may have.
const SUBSCRIPTIONS_MAX: u32 = 4_096;
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
const EVENT_CLOCK: u8 = 0;
const ABSOLUTE: u16 = 1;

/// What a program waits for.
#[derive(Clone, Copy)]
struct Subscription {
    userdata: [u8; 8],
    kind: u8,
    wait: Wait,
}

#[derive(Clone, Copy)]
enum Wait {
    /// Until the program's clock shows this.
    Until(u64),
    /// For a descriptor, which is always ready, or not there.
    Descriptor(Result<(), Errno>),
    /// For what does not exist.
    Never(Errno),
}

impl Host {
    pub(super) fn args_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        put_list(&self.args, args, memory, meter)
    }

    pub(super) fn args_sizes_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        put_sizes(&self.args, args, memory)
    }

    pub(super) fn environ_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        put_list(&self.env, args, memory, meter)
    }

    pub(super) fn environ_sizes_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), Failure> {
        put_sizes(&self.env, args, memory)
    }

    pub(super) fn clock_res_get(args: Args<'_>, memory: &mut Memory<'_>) -> Result<(), Failure> {
        if args.word(0) > CLOCK_THREAD_CPU {
            return Err(Errno::Invalid.into());
        }
        Ok(memory.put_long(args.word(1), 1)?)
    }

    pub(super) fn clock_time_get(
        &self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &Meter<'_>,
    ) -> Result<(), Failure> {
        let now = self.now(args.word(0), meter)?;
        Ok(memory.put_long(args.word(2), now)?)
    }

    /// What a clock shows: a nanosecond for each unit of fuel, and the time slept.
    fn now(&self, clock: u32, meter: &Meter<'_>) -> Result<u64, Errno> {
        if clock > CLOCK_THREAD_CPU {
            return Err(Errno::Invalid);
        }
        let left = u64::try_from(*meter.left).unwrap_or(0);
        let since_start = self.fuel_max.saturating_sub(left).saturating_add(self.slept);
        Ok(if clock == CLOCK_REALTIME { START.saturating_add(since_start) } else { since_start })
    }

    /// What the wall clock shows.
    pub(super) fn wall_clock(&self, meter: &Meter<'_>) -> u64 {
        self.now(CLOCK_REALTIME, meter).unwrap_or(START)
    }

    pub(super) fn random_get(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        // Four times the price of moving them: they are hashes.
        meter.charge(args.word(1).into())?;
        self.random.fill(memory.bytes_mut(args.word(0), args.word(1))?);
        Ok(())
    }

    /// Waiting takes no time: where nothing else is ready, the program's clock jumps to the first timeout.
    pub(super) fn poll_oneoff(
        &mut self,
        args: Args<'_>,
        memory: &mut Memory<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let (from, to, count) = (args.word(0), args.word(1), args.word(2));
        if count == 0 || count > SUBSCRIPTIONS_MAX {
            return Err(Errno::Invalid.into());
        }
        meter.charge(u64::from(count).saturating_mul(16))?;
        let mut subscriptions = Vec::new();
        for place in 0..count {
            let at = after(from, place.saturating_mul(SUBSCRIPTION_BYTES))?;
            subscriptions.push(self.subscription(at, memory, meter)?);
        }
        let now = self.now(1, meter)?;
        let is_ready = subscriptions.iter().any(|one| !matches!(one.wait, Wait::Until(_)));
        let first = subscriptions
            .iter()
            .filter_map(|one| if let Wait::Until(time) = one.wait { Some(time) } else { None })
            .min();
        let shown = match first {
            Some(first) if !is_ready && first > now => {
                self.slept = self.slept.saturating_add(first.saturating_sub(now));
                first
            }
            _ => now,
        };
        let mut events = 0_u32;
        for one in subscriptions {
            let errno = match one.wait {
                Wait::Until(time) if time > shown => continue,
                Wait::Until(_) | Wait::Descriptor(Ok(())) => 0,
                Wait::Descriptor(Err(errno)) | Wait::Never(errno) => errno as u16,
            };
            let mut event = [0; EVENT_BYTES as usize];
            let (head, rest) = event.split_at_mut(8);
            head.copy_from_slice(&one.userdata);
            if let [low, high, kind, ..] = rest {
                [*low, *high] = errno.to_le_bytes();
                *kind = one.kind;
            }
            memory.put(after(to, events.saturating_mul(EVENT_BYTES))?, &event)?;
            events = events.saturating_add(1);
        }
        Ok(memory.put_word(args.word(3), events)?)
    }

    fn subscription(
        &self,
        at: u32,
        memory: &Memory<'_>,
        meter: &Meter<'_>,
    ) -> Result<Subscription, Errno> {
        let userdata = memory.long(at)?.to_le_bytes();
        let kind = memory.word(after(at, 8)?)?.to_le_bytes()[0];
        let wait = if kind == EVENT_CLOCK {
            let clock = memory.word(after(at, 16)?)?;
            let timeout = memory.long(after(at, 24)?)?;
            let flags = memory.word(after(at, 40)?)?;
            match self.now(clock, meter) {
                Err(errno) => Wait::Never(errno),
                Ok(_) if flags & u32::from(ABSOLUTE) == 0 => {
                    Wait::Until(self.now(1, meter)?.saturating_add(timeout))
                }
                Ok(_) if clock == CLOCK_REALTIME => Wait::Until(timeout.saturating_sub(START)),
                Ok(_) => Wait::Until(timeout),
            }
        } else {
            Wait::Descriptor(self.descriptor(memory.word(after(at, 16)?)?).map(|_| ()))
        };
        Ok(Subscription { userdata, kind, wait })
    }

    pub(super) fn socket(&self, args: Args<'_>) -> Result<(), Failure> {
        self.descriptor(args.word(0))?;
        Err(Errno::NotSocket.into())
    }
}

/// Writes the texts to the address in the second argument, and where each begins to that in the first.
fn put_list(
    texts: &[Vec<u8>],
    args: Args<'_>,
    memory: &mut Memory<'_>,
    meter: &mut Meter<'_>,
) -> Result<(), Failure> {
    let (mut pointer, mut text_at) = (args.word(0), args.word(1));
    for text in texts {
        let length = u32::try_from(text.len()).map_err(|_| Errno::Fault)?;
        meter.charge_bytes(length.into())?;
        memory.put_word(pointer, text_at)?;
        memory.put(text_at, text)?;
        pointer = after(pointer, 4)?;
        text_at = after(text_at, length)?;
    }
    Ok(())
}

fn put_sizes(texts: &[Vec<u8>], args: Args<'_>, memory: &mut Memory<'_>) -> Result<(), Failure> {
    let narrow = |size: usize| u32::try_from(size).map_err(|_| Errno::Fault);
    memory.put_word(args.word(0), narrow(texts.len())?)?;
    memory.put_word(args.word(1), narrow(texts.iter().map(Vec::len).sum())?)?;
    Ok(())
}
