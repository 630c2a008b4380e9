//! The one function of the C library's `libm` that a program with a progress bar calls. Here, so that no second library is
//! found, mapped and relocated at every start.

/// `x` to the power of `y`.
#[no_mangle]
extern "C" fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}
