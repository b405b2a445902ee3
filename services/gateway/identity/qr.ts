/** qr — a text as a QR code, drawn here so that the secret of a second factor is shown to nobody else. */
import { fault } from '../../../mixins/shared/errors.ts';
import { qrcode } from '../../../mixins/shared/packages.ts';

/** Light modules around the code that readers need (ISO/IEC 18004, 9.1). */
const QUIET = 4;

/** The code as an SVG picture with its quiet zone. @throws BadParametersError for a text that is too long */
export function qrSvg(text: string): string {
  const code = qrcode()(0, 'M');
  try {
    code.addData(text, 'Byte');
    code.make();
  } catch (cause) {
    throw fault('BadParametersError', { message: 'The text is too long for a QR code.', cause });
  }
  const modules = Array.from({ length: code.getModuleCount() }, (_, n) => n);
  const size = modules.length + 2 * QUIET;
  const path = modules.flatMap((y) => modules.filter((x) => code.isDark(y, x)).map((x) => `M${x + QUIET} ${y + QUIET}h1v1h-1z`)).join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path}"/></svg>`;
}
