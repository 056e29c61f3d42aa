import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/hooks'], title: { en: 'Hooks', de: 'Webhooks' }, needs: 'hooks:read', menu: { at: 8, key: 'h' }, load: () => import('./Screen.svelte') };
