//! Every kernel against a plain f64 computation, over random and awkward shapes.

mod kernels {
    mod attention;
    mod conv;
    mod elementwise;
    mod linear;
    mod norm;
    mod reference;
}
