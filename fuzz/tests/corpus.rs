//! Runs every target over its corpus.

use std::fs;
use std::path::Path;

#[test]
fn every_target_holds_on_its_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in nuncio_fuzz::TARGETS {
        let folder = fs::read_dir(corpora.join(name)).expect("a target has a corpus");
        let mut files = 0;
        for file in folder {
            let path = file.expect("the folder can be read").path();
            let data = fs::read(&path).expect("a seed can be read");
            println!("{}", path.display());
            target(&data);
            files += 1;
        }
        assert!(files > 0, "the corpus of {name} is empty");
    }
}

#[test]
fn every_corpus_has_a_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for folder in fs::read_dir(corpora).expect("the corpora can be read") {
        let name = folder.expect("the folder can be read").file_name();
        let known = nuncio_fuzz::TARGETS
            .iter()
            .any(|(target, _)| *target == name.as_os_str());
        assert!(known, "{} has no target", name.display());
    }
}
