// Refuses a Node that the project does not run on, in one line. Plain JavaScript on purpose: it must start on any Node.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major !== 24 || minor < 21) {
  console.error(
    `Node 24.21 or later of the 24 line is needed here, this is ${process.version}. Use the npm scripts (npm start, npm test): they bring their own.`,
  );
  process.exit(1);
}
