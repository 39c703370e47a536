// Runs sfdmu's one command as its host, sfdx, would: node sfdmu.cjs <directory of the package> <arguments>
const [root, ...args] = process.argv.slice(2);
const Run = require(root + '/lib/commands/sfdmu/run.js').default;
Run.plugin = { root, name: 'sfdmu' };
Run.id = 'sfdmu:run';
Run.run(args, root).catch((e) => {
  console.error(e);
  process.exit(1);
});
