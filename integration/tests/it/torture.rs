//! Nothing acknowledged is lost, whoever is killed: ten cycles here, more with `cargo xtask torture`.

use integration::torture::{self, Options};
use integration::{Cluster, ClusterOptions, on_each_server};

#[test]
fn nothing_acknowledged_is_lost() {
    on_each_server("torture", |server| {
        let cluster = Cluster::with(ClusterOptions { server, ..ClusterOptions::default() });
        cluster.start();
        let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        println!("PGANATOMY_SEED={seed}");
        let report =
            torture::run(&cluster, Options { cycles: 10, clients: 8, seed }, |line| println!("{line}"));
        println!("{report}");
        assert_eq!(report.losses, 0, "{report}");
        assert!(report.commits > 0, "{report}");
    });
}
