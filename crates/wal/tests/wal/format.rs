//! Format version 1, frozen: a log written by it must be read for ever.

use std::path::Path;

use stiver_testkit::simulation::Simulation;

use crate::tally::{Command, FOLDER, Tally, entries, files, open};

/// The first segment of a log with the entries 1 (2 bytes of padding) and 2 (none), as far as it is
/// not zero.
const SEGMENT: &str = "
    5354495645524c47010000000300000074616c6c790000000000000000000000
    000000000000000000000000000000001e1151058e18c7a65c6373998716506d
    0000000000000000007c291f940100007363eca18b9f2427981745065798fc4b
    06ca8aa66e8b3cbaf37b68fdd0a36aa0000000000000000000000000d38bf16b
    0e00000048f177830100000000000000007c291f94010000010000007363eca1
    8b9f2427981745065798fc4b06ca8aa66e8b3cbaf37b68fdd0a36aa060b9efa0
    0a000000010000000000000001010000f5656e64d36c6f670c0000006ad848a2
    0200000000000000007c291f94010000010000006df7b37324035f43f58e1694
    cc6ad58e21335531abc1959c4ec1732b83112cbd9729ee2d0800000002000000
    0000000000000000f5656e64d36c6f67
";
/// The snapshot before them.
const SNAPSHOT: &str = "
    535449564552534e010000000300000074616c6c790000000000000000000000
    000000000000000000000000000000001e1151058e18c7a65c6373998716506d
    0000000000000000007c291f940100007363eca18b9f2427981745065798fc4b
    06ca8aa66e8b3cbaf37b68fdd0a36aa0080000000000000001000000603ce0f2
    000000000000000067668703b2f55a418d3c65c5194870cb239bbec26b2ca635
    3e0b6353a7020316
";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

#[test]
fn version_one_is_written_byte_for_byte() {
    let simulation = Simulation::new(1);
    let engine = open(&simulation).unwrap();
    for (number, bytes) in [(1, 2), (2, 0)] {
        let command = Command::Add { number, bytes };
        simulation.block_on(engine.submit(command)).unwrap();
    }
    let whole = |prefix| {
        simulation
            .disk
            .bytes(&files(&simulation, prefix)[0])
            .unwrap()
    };
    let segment = whole("segment-");
    let end = segment.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_eq!(hex(&segment[..end]), hex(&unhex(SEGMENT)));
    assert_eq!(hex(&whole("snapshot-")), hex(&unhex(SNAPSHOT)));
}

#[test]
fn version_one_is_read() {
    let simulation = Simulation::new(2);
    let mut segment = unhex(SEGMENT);
    segment.resize(4096, 0);
    let put = |name, bytes: &[u8]| simulation.disk.put(&Path::new(FOLDER).join(name), bytes);
    put("segment-00000000000000000001.log", &segment);
    put("snapshot-00000000000000000000.snap", &unhex(SNAPSHOT));
    let engine = open(&simulation).unwrap();
    assert_eq!(entries(&simulation, &engine), [1, 2]);
    let verified = stiver_wal::verify::<Tally>(FOLDER.as_ref(), &simulation.env()).unwrap();
    assert_eq!(verified.last, 2);
}
