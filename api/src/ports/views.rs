//! The follower of the read models.

/// Keeps the read models up to date with the log.
pub trait FollowingViews: Send + Sync {
    /// Reports that a request waits for committed records: the follower need not wait for more before it takes
    /// them. Quick.
    fn hurry(&self);
}
