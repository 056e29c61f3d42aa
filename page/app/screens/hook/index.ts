import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/hooks/:pack/:sensor'], title: { en: 'Hook', de: 'Webhook' }, needs: 'hooks:read', load: () => import('./Screen.svelte') };
