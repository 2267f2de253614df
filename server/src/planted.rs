//! Where a defect is planted. Only a build with the feature `mutants` has any: in every other the switch is constant.

/// Whether the server of this thread has a defect, by its name in [`Mutant`](crate::mutant::Mutant).
///
/// `planted!(Name: "field" in text)` is the string in a field of a JSON message, if it has the defect: what nobody may believe.
/// `planted!(Name: again key)` is whether it has the defect and this was asked for the key before.
#[cfg(feature = "mutants")]
macro_rules! planted {
    ($mutant:ident) => {
        $crate::mutant::is_planted($crate::mutant::Mutant::$mutant)
    };
    ($mutant:ident: again $key:expr) => {
        $crate::mutant::is_planted($crate::mutant::Mutant::$mutant) && $crate::mutant::is_again($key)
    };
    ($mutant:ident: $field:literal in $text:expr) => {
        $crate::mutant::claimed($crate::mutant::Mutant::$mutant, $field, $text)
    };
}

/// No.
#[cfg(not(feature = "mutants"))]
macro_rules! planted {
    ($mutant:ident) => {
        $crate::planted::never()
    };
    ($mutant:ident: again $key:expr) => {{
        let _: &str = $key;
        $crate::planted::never()
    }};
    ($mutant:ident: $field:literal in $text:expr) => {{
        let _: &str = $text;
        None::<String>
    }};
}

/// `false`, as something that lints do not take for a slip.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn never() -> bool {
    false
}
