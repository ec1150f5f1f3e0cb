//! Application: the facts we keep of one Argo CD Application, plus the whole object, compressed.
