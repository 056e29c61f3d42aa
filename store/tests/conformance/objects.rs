//! The behavior of every store of objects.

/// Runs each case in memory, each time empty.
macro_rules! on_every_object_store {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[test] fn $case() { super::$case(&super::Store::of(&ensue_store::objects::MemoryObjects::default())); })*
        }
    };
}

mod cases;
