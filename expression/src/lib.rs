//! CEL and templates: parse, analyse, evaluate within a budget, explain.
