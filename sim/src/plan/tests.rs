use super::*;

#[test]
fn a_plan_is_made_smaller_down_to_what_matters() {
    let plan = (0..)
        .map(Plan::draw)
        .find(|plan| plan.faults.len() > 6 && plan.purchases.len() > 6)
        .expect("some plan is large");
    let kept = plan.faults[3];
    let small = plan.minimise(&mut |plan| plan.faults.contains(&kept));
    assert_eq!(small.faults, [kept]);
    assert_eq!((small.purchases.len(), small.at_once), (1, 1));
}

#[test]
fn a_seed_decides_its_plan() {
    assert_eq!(Plan::draw(9), Plan::draw(9));
    assert_ne!(Plan::draw(9).purchases, Plan::draw(10).purchases);
}
