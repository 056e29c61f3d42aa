//! Fields that JSON leaves out if they have the default value of their type.

/// Returns true if a value is the default of its type.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
